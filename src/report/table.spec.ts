import { describe, expect, it } from 'vitest';
import type { ContenderResult } from '../load/comparison.js';
import { CALL_FIGURES } from './figures.js';
import { table } from './table.js';

const result = (name: ContenderResult['name'], figures: Partial<ContenderResult> = {}): ContenderResult => ({
  name,
  calls: 1_000,
  succeeded: 1_000,
  failed: 0,
  failedReads: 0,
  failedWrites: 0,
  failedByCode: {},
  unsafeInFlightFailed: 0,
  inFlight: 0,
  longestWaitMs: 12.4,
  recoveryMs: 0,
  duplicatedWrites: 0,
  lostWrites: 0,
  waiting: 0,
  ...figures,
});

const OUTAGE = { figures: CALL_FIGURES, tunedTitle: '+ retryPolicy, keepalive' };

describe('table', () => {
  it('prints the figures of the contenders side by side', () => {
    const text = table(
      [
        result('plain', { failedReads: 480, failedWrites: 119, unsafeInFlightFailed: 1, recoveryMs: 1_300.2 }),
        result('tuned', { failedReads: 200, failedWrites: 120, recoveryMs: 400 }),
        result('resilient', { recoveryMs: 81, longestWaitMs: 3_120 }),
      ],
      OUTAGE,
    );
    expect(text.split('\n')).toEqual([
      '                          Nest ClientGrpc   + retryPolicy, keepalive   nestjs-resilient-grpc',
      'reads   failed                  480                   200                        0',
      'writes  failed                  120                   120                        0',
      'writes  executed twice           0                     0                         0',
      'recovery time                 1300 ms                400 ms                    81 ms',
      'longest wait of a call         12 ms                 12 ms                    3120 ms',
    ]);
  });

  it('prints "cut off in flight" without a number if all failed writes were cut off in flight', () => {
    const text = table([result('plain'), result('resilient', { unsafeInFlightFailed: 2 })], OUTAGE);
    expect(text).toMatch(/^writes {2}failed .* 2 {2}cut off in flight$/m);
  });

  it('prints "cut off in flight" with a number if only some failed writes were cut off in flight', () => {
    const text = table([result('plain'), result('resilient', { failedWrites: 3, unsafeInFlightFailed: 2 })], OUTAGE);
    expect(text).toMatch(/^writes {2}failed .* 5 {2}2 cut off in flight$/m);
  });

  it('prints lost writes only if there are any', () => {
    expect(table([result('plain')], OUTAGE)).not.toContain('lost');
    expect(table([result('plain', { lostWrites: 1 })], OUTAGE)).toMatch(/^writes {2}lost +1$/m);
  });
});
