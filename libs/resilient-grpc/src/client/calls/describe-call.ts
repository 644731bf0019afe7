import { moment } from '../../time/clock.js';
import type { MethodContext } from '../call-context.js';
import type { ActiveCall } from '../client-snapshot.js';
import type { Endable } from './call-bindings.js';
import { cancelled } from '../attempts/call-failure.js';

/** Current state of a call. `startedAt` and `lastMessageAt` are in monotonic milliseconds. */
interface CallState {
  readonly peer: string | undefined;
  readonly startedAt: number;
  readonly lastMessageAt: number | undefined;
  readonly sent: number;
  readonly received: number;
  readonly waiting: boolean;
  readonly stalledBy?: ActiveCall['stalledBy'] | undefined;
  readonly openedAt: string | undefined;
  readonly resumes?: number;
}

/** Returns the description of a call for `activeCalls()`. `ended` is the call or stream that the description's `cancel()` ends. */
export function describeCall({ client, method }: MethodContext, call: CallState, ended: Endable): ActiveCall {
  const { peer, lastMessageAt, sent, received, waiting, stalledBy, openedAt, resumes } = call;
  // Converts monotonic times to wall-clock times.
  const shift = client.clock.epoch() - client.clock.now();
  return {
    path: method.path,
    kind: method.kind,
    ...(peer === undefined ? {} : { peer }),
    startedAt: moment(call.startedAt + shift),
    ...(lastMessageAt === undefined ? {} : { lastMessageAt: moment(lastMessageAt + shift) }),
    sent,
    received,
    waiting,
    ...(stalledBy === undefined ? {} : { stalledBy }),
    ...(resumes === undefined ? {} : { resumes }),
    ...(openedAt === undefined ? {} : { openedAt }),
    cancel: (reason = 'Cancelled on client') => {
      ended.end(cancelled(reason, undefined));
    },
  };
}
