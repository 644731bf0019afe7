import { describe, expect, it } from 'vitest';
import { idleCheck, type IdleOutcome } from './idle-check.js';

const closed = (idleMs: number, how: 'goaway' | 'fin' | 'rst'): IdleOutcome => ({
  kind: 'closed',
  idleMs,
  end: { how, afterMs: idleMs },
});
const dropped = (answeredMs: number, lostMs: number): IdleOutcome => ({
  kind: 'dropped',
  answeredMs,
  lostMs,
  how: 'silent',
});

describe('idleCheck', () => {
  it.each<[string, IdleOutcome, string, string, string]>([
    ['idle connections still work', { kind: 'kept', idleMs: 600_000 }, 'ok', 'no setting is required', ''],
    ['a server sends GOAWAY', closed(60_000, 'goaway'), 'ok', 'after 60 s (GOAWAY); no call is lost', ''],
    [
      'a proxy closes idle connections before the client does',
      closed(60_000, 'fin'),
      'warning',
      'after 60 s (TCP FIN without GOAWAY)',
      'set connections.idleMs to 48000 or less in the client, or increase the idle timeout of the server, proxy, or firewall',
    ],
    [
      'a proxy would close idle connections only after the client does',
      closed(300_000, 'rst'),
      'ok',
      'clients of this library close an idle connection first, after 200 s',
      '',
    ],
    [
      'a proxy closes idle connections sooner than any setting allows',
      closed(1_100, 'fin'),
      'warning',
      'after 1.1 s',
      'increase the idle timeout of the server, proxy, or firewall; it is too short for any connections.idleMs',
    ],
    [
      'a load balancer drops idle connections before the client closes them',
      dropped(106_000, 150_000),
      'warning',
      'idle for 150 s received no response (one that was idle for 106 s still worked)',
      'set connections.idleMs to 84000 or less in the client, or increase the idle timeout of the server, proxy, or firewall; for streams without messages, set keepalive: { keepaliveTimeMs: 84000 } (check it with --keepalive 84s)',
    ],
    [
      'a load balancer would drop idle connections only after the client closes them',
      dropped(300_000, 424_000),
      'ok',
      'clients of this library close an idle connection first',
      'for streams without messages, set keepalive: { keepaliveTimeMs: 240000 }',
    ],
    [
      'a proxy drops idle connections sooner than any keepalive allows',
      dropped(9_000, 13_000),
      'warning',
      'idle for 13 s',
      'a stream without messages is dropped, too',
    ],
    [
      'even the connection with the shortest idle time is dropped',
      dropped(0, 13_000),
      'warning',
      'idle for 13 s',
      '--idle 13s',
    ],
    [
      'the server ends a connection in use',
      { kind: 'ended-in-use', afterMs: 30_000, end: { how: 'goaway', details: 'max_age', afterMs: 30_000 } },
      'warning',
      'a connection in use was closed after 30 s (GOAWAY: max_age)',
      'measure a shorter time: --idle 24s',
    ],
    [
      'the connection in use stops responding',
      { kind: 'unresponsive', afterMs: 5_000 },
      'failed',
      'stopped responding after 5 s',
      'stuck',
    ],
    ['no connection is available', { kind: 'not-opened', message: 'refused' }, 'skipped', 'not checked: refused', ''],
  ])(
    'reports the finding of the idle check, with a remedy where one applies, if %s',
    (_what, outcome, status, message, remedy) => {
      const result = idleCheck(outcome, 600_000);
      expect(result).toMatchObject({ status, message: expect.stringContaining(message) });
      expect(result.remedy ?? '').toContain(remedy);
      expect(result.remedy === undefined).toBe(remedy === '');
    },
  );

  it('reports the times of the idle check and the recommended settings as facts', () => {
    expect(idleCheck(dropped(106_000, 150_001), 600_000).facts).toEqual({
      limitMs: 600_000,
      outcome: { kind: 'dropped', answeredMs: 106_000, lostMs: 150_001, how: 'silent' },
      idleTimeoutMs: 84_000,
      keepaliveTimeMs: 84_000,
    });
    expect(idleCheck({ kind: 'kept', idleMs: 1 }, 1).facts).toEqual({
      limitMs: 1,
      outcome: { kind: 'kept', idleMs: 1 },
    });
  });
});
