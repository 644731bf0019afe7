import { statusName } from '../../status/status-code.js';
import { oneLine } from '../../telemetry/log/log-text.js';
import { moment } from '../../time/clock.js';
import type { ErrorSnapshot } from '../client-snapshot.js';
import type { CountedFailure } from './method-statistics.js';

export interface FailedCall extends Omit<CountedFailure, 'notRetriedBecause'> {
  readonly path: string;
}

interface Kind {
  latest: FailedCall;
  count: number;
  readonly firstAt: number;
  lastAt: number;
}

const MAX_KINDS = 20;
const MAX_DETAILS_LENGTH = 200;

/** The most recent kinds of failures. Failures are grouped, because thousands of calls fail for the same reason during an outage. */
export class LastFailures {
  /** Ordered by the last failure, the latest at the end. */
  private readonly kinds = new Map<string, Kind>();

  /** @param epoch milliseconds since 1970 */
  add(call: FailedCall, epoch: number): void {
    const key = `${call.path} ${String(call.code)} ${call.reason}`;
    const kind = this.kinds.get(key) ?? { latest: call, count: 0, firstAt: epoch, lastAt: epoch };
    kind.latest = call;
    kind.count += 1;
    kind.lastAt = epoch;
    this.kinds.delete(key);
    this.kinds.set(key, kind);
    if (this.kinds.size <= MAX_KINDS) return;
    const [oldest] = this.kinds.keys();
    if (oldest !== undefined) this.kinds.delete(oldest);
  }

  snapshot(): ErrorSnapshot[] {
    return [...this.kinds.values()].map(({ latest, count, firstAt, lastAt }) => ({
      path: latest.path,
      code: statusName(latest.code),
      reason: latest.reason,
      // `oneLine` also masks credentials, because visitors to the dashboard can read an upstream's details.
      details: oneLine(latest.details, MAX_DETAILS_LENGTH),
      ...(latest.peer === undefined ? {} : { peer: latest.peer }),
      count,
      firstAt: moment(firstAt).toISOString(),
      lastAt: moment(lastAt).toISOString(),
    }));
  }
}
