import { beforeEach, describe, expect, it } from 'vitest';
import { Measurement } from './measurement.js';

const LOST = { codeName: 'UNAVAILABLE', lostInFlight: true };
const REFUSED = { codeName: 'UNAVAILABLE', lostInFlight: false };

describe('Measurement', () => {
  let measurement: Measurement;
  beforeEach(() => {
    measurement = new Measurement();
  });

  it('counts a call once: as succeeded, as failed (with its status code), or as in flight', () => {
    measurement.succeed(measurement.begin('read', 0), 5);
    measurement.fail(measurement.begin('read', 0), 5, REFUSED);
    measurement.fail(measurement.begin('write', 0), 5, { codeName: 'INTERNAL', lostInFlight: false });
    measurement.begin('write', 0);
    expect(measurement.snapshot(9)).toMatchObject({
      calls: 4,
      succeeded: 1,
      failed: 2,
      failedReads: 1,
      failedWrites: 1,
      failedByCode: { UNAVAILABLE: 1, INTERNAL: 1 },
      unsafeInFlightFailed: 0,
      inFlight: 1,
      waiting: 0,
    });
    expect(measurement.snapshot(1_001)).toMatchObject({ inFlight: 1, waiting: 1 });
  });

  describe('write in flight on a lost connection', () => {
    it('counts a write in flight on a lost connection separately, because the write may have been applied', () => {
      const call = measurement.begin('write', 90);
      measurement.connectionsLost(100);
      measurement.fail(call, 101, LOST);
      expect(measurement.snapshot(200)).toMatchObject({ failed: 0, failedByCode: {}, unsafeInFlightFailed: 1 });
    });

    it('counts a write separately if it started just after the connection was lost, before the client detected the loss', () => {
      measurement.connectionsLost(100);
      measurement.fail(measurement.begin('write', 120), 130, LOST);
      expect(measurement.snapshot(200)).toMatchObject({ failed: 0, unsafeInFlightFailed: 1 });
    });

    it('counts a write as an ordinary failure if it started long after the connection was lost', () => {
      measurement.connectionsLost(100);
      measurement.fail(measurement.begin('write', 700), 710, LOST);
      expect(measurement.snapshot(800)).toMatchObject({ failed: 1, unsafeInFlightFailed: 0 });
    });

    it('counts a write as an ordinary failure if no connection was lost', () => {
      measurement.fail(measurement.begin('write', 300), 310, LOST);
      expect(measurement.snapshot(400)).toMatchObject({ failed: 1, unsafeInFlightFailed: 0 });
    });

    it('counts a write as an ordinary failure if it ended before the connection was lost', () => {
      measurement.fail(measurement.begin('write', 10), 20, LOST);
      measurement.connectionsLost(100);
      expect(measurement.snapshot(400)).toMatchObject({ failed: 1, unsafeInFlightFailed: 0 });
    });
  });

  it('counts a read in flight on a lost connection as failed, because it could have been retried', () => {
    const call = measurement.begin('read', 90);
    measurement.connectionsLost(100);
    measurement.fail(call, 101, LOST);
    expect(measurement.snapshot(200)).toMatchObject({ failed: 1, unsafeInFlightFailed: 0 });
  });

  it('measures the longest wait over succeeded, failed, and open calls', () => {
    measurement.succeed(measurement.begin('read', 0), 10);
    measurement.fail(measurement.begin('read', 0), 30, REFUSED);
    measurement.begin('read', 5);
    expect(measurement.snapshot(20).longestWaitMs).toBe(30);
    expect(measurement.snapshot(105).longestWaitMs).toBe(100);
  });

  it('reports the longest time from when the server becomes reachable to the first success', () => {
    const early = measurement.begin('read', 0);
    measurement.serverReachable(100);
    measurement.succeed(early, 99);
    measurement.succeed(measurement.begin('read', 110), 140);
    measurement.succeed(measurement.begin('read', 150), 190);
    expect(measurement.snapshot(200).recoveryMs).toBe(40);
    measurement.serverReachable(300);
    measurement.succeed(measurement.begin('read', 300), 310);
    expect(measurement.snapshot(400).recoveryMs).toBe(40);
  });

  it('measures recovery until now if no call has succeeded yet', () => {
    measurement.serverReachable(100);
    expect(measurement.snapshot(700).recoveryMs).toBe(600);
  });

  it('does not count a pause of the load as recovery', () => {
    measurement.serverReachable(100);
    measurement.paused(250);
    expect(measurement.snapshot(60_000).recoveryMs).toBe(150);
    measurement.succeed(measurement.begin('read', 60_000), 60_010);
    expect(measurement.snapshot(60_020).recoveryMs).toBe(150);
  });

  it('discards the recovery in progress when connections are lost again, and measures the next one from when the server becomes reachable', () => {
    measurement.serverReachable(100);
    measurement.connectionsLost(150);
    expect(measurement.snapshot(700).recoveryMs).toBe(0);
    measurement.serverReachable(800);
    measurement.succeed(measurement.begin('read', 800), 820);
    expect(measurement.snapshot(900).recoveryMs).toBe(20);
  });

  it('counts calls as failed if they never end', () => {
    measurement.begin('read', 0);
    measurement.abandonOpenCalls(500);
    expect(measurement.snapshot(500)).toMatchObject({
      failed: 1,
      failedByCode: { NEVER_ENDED: 1 },
      inFlight: 0,
      longestWaitMs: 500,
    });
  });
});
