// #region all
import { randomUUID } from 'node:crypto';
import {
  nextOnce,
  type OnceEvent,
  type OnceIdentity,
  type OnceLimits,
  type OnceRecord,
  type OnceReply,
  type OnceStore,
} from 'nestjs-resilient-grpc/server';

// Writes ARGV[3] if nothing has changed since the state that it was derived from; otherwise, returns the state. Redis is another one after it
// has restarted (run_id), a replica has taken over (replid), or it was flushed (born), which may have lost records.
const STEP = `
local info = redis.call('INFO', 'server') .. redis.call('INFO', 'replication')
redis.call('SETNX', KEYS[2], ARGV[5])
local born = redis.call('GET', KEYS[2])
local scope = info:match('run_id:(%w+)') .. '-' .. info:match('master_replid:(%w+)') .. '-' .. born
local seen = redis.call('GET', KEYS[1]) or ''
if ARGV[1] == scope and ARGV[2] == seen then
  if ARGV[3] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[3], 'PXAT', ARGV[4]) end
  return false
end
local time = redis.call('TIME')
return { scope, seen, time[1] * 1000 + math.floor(time[2] / 1000) }`;

/** What the store uses of a client of the package redis. */
interface Redis {
  eval(script: string, options: { readonly keys: string[]; readonly arguments: string[] }): Promise<unknown>;
  info(section: string): Promise<unknown>;
}

type State = [scope: string, seen: string, now: number];

/** Keeps keys in Redis 6.2 or later. Create the client with `disableOfflineQueue: true`, so that writes fail at once while Redis is down. */
export class RedisOnceStore implements OnceStore {
  constructor(private readonly redis: Redis) {}

  async identify(): Promise<OnceIdentity> {
    const policy = /maxmemory_policy:(\S+)/.exec(String(await this.redis.info('memory')))?.[1];
    if (policy !== 'noeviction')
      throw new Error(`Redis may evict the keys of writes (${String(policy)}); set maxmemory-policy to noeviction`);
    const [scope, , now] = (await this.step('')) as State;
    return { scope, now };
  }

  async apply(id: string, event: OnceEvent, limits: OnceLimits): Promise<OnceReply> {
    let state = await this.step(id);
    for (;;) {
      const [scope, seen, now] = state as State;
      const record = seen === '' ? undefined : (JSON.parse(seen, decode) as OnceRecord);
      const next = nextOnce(record, event, { ...limits, now, scope, commits: false });
      if (next.record === record) return next.reply;
      state = await this.step(id, scope, seen, next.record);
      if (state === null) return next.reply;
    }
  }

  /** Returns the state, or `null` if `next` is written. */
  private async step(id: string, scope = '', seen = '', next?: OnceRecord): Promise<State | null> {
    const until = next && Math.max(next.expiresAt, next.kind === 'running' ? next.leaseEndsAt : 0);
    const end = next?.kind === 'done' && next.end && { end: Buffer.from(next.end).toString('base64') };
    const text = next === undefined ? '' : JSON.stringify({ ...next, ...end });
    // In a cluster, the braces keep all keys in one place, which has one scope.
    return (await this.redis.eval(STEP, {
      keys: [`{once}:${id}`, '{once}.scope'],
      arguments: [scope, seen, text, String(until), randomUUID().slice(24)],
    })) as State | null;
  }
}

const decode = (key: string, value: unknown) => (key === 'end' ? Buffer.from(String(value), 'base64') : value);
// #endregion
