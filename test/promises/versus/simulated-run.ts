import { status } from '@grpc/grpc-js';
import { Fleet } from '../../../bench/simulation/fleet.mjs';
import { PlainClient } from '../../../bench/simulation/plain-client.mjs';
import { CONSTANTS, GRPC_JS_BACKOFF } from '../../../bench/simulation/policies.mjs';
import { ResilientClient } from '../../../bench/simulation/resilient-client.mjs';
import { DEFAULT_WORLD } from '../../../bench/simulation/simulate.mjs';
import type { EndedCall, Run } from './judge.js';
import { CLIENTS, drawCalls, drawSchedule, type Schedule, type Side } from './schedule.js';

/** Faults of the simulated network. Those of one server hit all clients. */
const KINDS = ['kill', 'kill', 'freeze', 'refuse', 'answer'] as const;
/** Free capacity of the servers, as in real runs. */
const CAPACITY = 20;
/** Time after the schedule in which its last calls end. */
const LAST_MS = 60_000;

type Call = Parameters<Fleet['ended']>[0];

/** Draws a schedule whose faults the simulation knows. */
export function drawSimulated(seed: number, given: Partial<Schedule> = {}): Schedule {
  const { line: _, ...schedule } = drawSchedule(
    seed,
    { transport: 'socket', servers: 1, roundRobin: false, keepalive: false, ...given },
    KINDS,
  );
  // A proxy that answers 502 is what the simulation calls an unreachable server.
  const faults = schedule.faults.map((fault) => (fault.kind === 'answer' ? { ...fault, status: 502 } : fault));
  return { ...schedule, faults };
}

/** What changes at the start of a fault, and at its end. */
const CHANGES: Readonly<
  Record<(typeof KINDS)[number], readonly [begin: (fleet: Fleet) => void, end: (fleet: Fleet) => void]>
> = {
  kill: [(fleet) => fleet.stop(0), (fleet) => fleet.start(0)],
  refuse: [(fleet) => fleet.stop(0), (fleet) => fleet.start(0)],
  freeze: [(fleet) => fleet.servers[0]?.stall(), (fleet) => fleet.servers[0]?.resume()],
  answer: [(fleet) => setUnreachable(fleet, true), (fleet) => setUnreachable(fleet, false)],
};

function setUnreachable({ servers }: Fleet, isUnreachable: boolean): void {
  for (const server of servers) server.isUnreachable = isUnreachable;
}

/** Runs a schedule in virtual time, with clients of one side. */
function simulateSide(schedule: Schedule, side: Side): readonly EndedCall[] {
  const { seed, rate, faults, seconds, waits } = schedule;
  const ended: EndedCall[] = [];
  const ids = new Map<Call, number>();
  const end = (fleet: Fleet, call: Call, code: number) => {
    ended[ids.get(call) ?? 0] = { endMs: fleet.clock.time, code };
  };
  class RecordedFleet extends Fleet {
    override ended(call: Call): void {
      super.ended(call);
      end(this, call, status.OK);
    }

    override failed(call: Call): void {
      super.failed(call);
      end(this, call, status.UNAVAILABLE);
    }
  }
  const open = (fleet: Fleet) =>
    side === 'theirs'
      ? new PlainClient(fleet, { backoff: GRPC_JS_BACKOFF, retries: false })
      : new ResilientClient(fleet, CONSTANTS, waits ? undefined : false);
  const load = { clients: CLIENTS, callsPerSecond: rate, capacity: CAPACITY, serverKind: 'plain' as const };
  const world = { ...DEFAULT_WORLD, ...load, seed };
  const lengthMs = seconds * 1_000 + LAST_MS;
  const fleet = new RecordedFleet(world, { name: side, title: side, open }, lengthMs);
  for (const { id, client: index, atMs, method, deadlineMs } of drawCalls(schedule))
    fleet.clock.runAt(atMs, () => {
      const client = fleet.clients[index];
      if (client === undefined) return;
      const call = fleet.newCall(client, deadlineMs, method !== 'create');
      // Before the call begins, because it may end at once.
      ids.set(call, id);
      fleet.begin(call);
    });
  for (const { kind, atMs, forMs } of faults) {
    const [begin, end] = CHANGES[kind as (typeof KINDS)[number]];
    fleet.clock.runAt(atMs, () => {
      begin(fleet);
    });
    fleet.clock.runAt(atMs + forMs, () => {
      end(fleet);
    });
  }
  fleet.clock.run(lengthMs);
  return ended;
}

/** Runs a schedule with both sides in virtual time. */
export function simulateSchedule(schedule: Schedule): Run {
  return {
    ...{ schedule, calls: drawCalls(schedule) },
    ended: { ours: simulateSide(schedule, 'ours'), theirs: simulateSide(schedule, 'theirs') },
    spans: schedule.faults.map(({ atMs, forMs }) => ({ fromMs: atMs, returnMs: atMs + forMs })),
    ...{ writes: [], connections: [], lateMs: { ours: 0, theirs: 0 } },
  };
}
