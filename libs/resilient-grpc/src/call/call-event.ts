import type { Metadata } from '@grpc/grpc-js';
import type { AttemptRecord, NotRetriedReason } from '../errors/grpc-call-error.js';
import type { CircuitTransition } from '../policy/circuit-breaker/circuit-breaker.js';
import type { LimitChange } from '../policy/concurrency/permit-queue.js';
import type { EjectionEvidence } from '../policy/ejection/next-ejection.js';
import type { StatusCode } from '../status/status-code.js';
import type { ConnectivityState, EndpointSnapshot } from './connectivity.js';
import type { ProtectionId } from './protection.js';

/** Describes how the installed grpc-js or Node differs from the tested ones. Calls still work, but without the features in `lost`. */
export interface UntestedVersion {
  /** Installed versions, such as '@grpc/grpc-js 1.16.0 on Node 26.10.0'. */
  readonly installed: string;
  /** Tested releases of grpc-js, such as '@grpc/grpc-js 1.14.7'. */
  readonly tested: string;
  /** Private names of grpc-js or Node that are missing; empty if only the version of grpc-js is untested. */
  readonly missing: readonly string[];
  readonly lost: readonly string[];
}

/** Result of a drain. */
export interface DrainReport {
  /** Number of calls that have finished since the drain began, or since the application began to shut down if that was earlier. */
  readonly finished: number;
  /** Number of finished calls that failed, including those whose retry was due after the drain. */
  readonly failed: number;
  readonly completed: number;
  /** Number of calls that the drain ended with an error because of `onDrain: 'fail'`. */
  readonly ended: number;
  /** Number of calls that the drain cut off at its timeout, or that `close()` ended during the drain. */
  readonly cancelled: number;
  /** Number of calls that the drain cut off at its timeout, by method path; `{}` if 0. */
  readonly cutOffByPath: Readonly<Record<string, number>>;
  readonly durationMs: number;
}

/** A value that the serializer omits from a message or replaces. */
export type UnsentField = {
  /** Path of the method, such as '/orders.v1.Orders/Create'. */
  readonly path: string;
  /** Name, without the package, of the message type that contains or lacks the field, such as 'CreateOrderRequest'. */
  readonly messageType: string;
  /**
   * Names of the containing fields and the key of the value, joined by dots: 'items.price'. List indexes and map keys are omitted. An empty
   * string if the value was passed in place of the whole message.
   */
  readonly field: string;
} & (
  | {
      /** Field with a similar name. The message type has no field with the given name, so the value is not sent. */
      readonly suggestion: string;
    }
  | {
      /** Reason why the value does not fit the field: 'expected a number, got a string of length 4'. */
      readonly problem: string;
      /**
       * Value that is sent instead: '0', 'NaN', 'true', '"[object Object]"', 'an empty object', 'nothing' if the field is omitted, or 'its
       * properties' if an Observable whose properties match fields was passed as the message.
       */
      readonly sent: string;
    }
);

/**
 * Reason for the end of an established connection, as in gRFC A94 (`grpc.disconnect_error`). A GOAWAY code that is not in RFC 9113 is a
 * number; the metric counts it as 'unknown'. A minor version may add reasons; handle unknown ones in a default branch.
 */
export type ConnectionEnd =
  | `GOAWAY ${string}`
  | 'subchannel shutdown'
  | 'connection reset'
  | 'connection timed out'
  | 'connection aborted'
  | 'socket error'
  | 'unknown';

/**
 * Reason for the next step after a failed attempt. If no attempt follows, it is the reason why the call is not retried. If a retry follows,
 * it is 'pushback' when the server set the delay, otherwise the cause of the failure: 'refused', 'connection-lost', 'attempt-timeout',
 * 'stream-idle', 'retryable-status', 'retryable-http', or 'credentials'. If a hedged call continues, it is 'replaces-failed' when another
 * attempt replaces the failed one, otherwise the reason why none does. A minor version may add reasons; handle unknown ones in a default
 * branch.
 */
export type AttemptEndReason =
  | NotRetriedReason
  /** The retry policy lists the status code. */
  | 'retryable-status'
  /** A proxy or web server responded with an HTTP status that can be retried. */
  | 'retryable-http'
  /** The call credentials failed with a status code that the retry policy lists. */
  | 'credentials'
  /** Another attempt of the hedged call replaces the failed one, possibly after a pushback or a backoff. */
  | 'replaces-failed';

/** Final result of a call, after its last attempt. */
export interface CallEnd {
  /** Status code; `status` of `@grpc/grpc-js` contains the codes by name. */
  readonly code: StatusCode;
  readonly details: string;
  readonly trailers: Metadata;
  readonly peer?: string;
  readonly durationMs: number;
  /** The latest attempts, at most 20, oldest first. */
  readonly attempts: readonly AttemptRecord[];
}

/**
 * An event of a client, for logs, the metrics of rare events, and subscribers of `events$`. The traces and metrics of calls come from
 * `ClientTelemetry`. 'call-start' and 'call-end' are built only while `events$` has a subscriber. A minor version may add events and
 * property values; handle unknown ones in a default branch.
 */
export type GrpcClientEvent = {
  readonly client: string;
  /** Milliseconds since 1970. */
  readonly at: number;
} & (
  | {
      readonly type: 'connectivity';
      readonly from: ConnectivityState;
      readonly to: ConnectivityState;
      readonly cause?: string;
    }
  | { readonly type: 'connection'; readonly change: 'connected'; readonly address: string }
  /**
   * An attempt to connect failed. `address` is absent if the name could not be resolved, if no endpoint is serving, or if the connection is
   * not observed (`xds:`).
   */
  | { readonly type: 'connection'; readonly change: 'failed'; readonly address?: string; readonly cause: string }
  /**
   * An established connection closed. 'ended': the server or the network ended it, or this client did because of the server, and `protection`
   * names the rule. 'closed': this client needed it no more.
   */
  | {
      readonly type: 'connection';
      readonly change: 'ended' | 'closed';
      readonly address: string;
      readonly livedMs: number;
      readonly reason: ConnectionEnd;
      readonly protection?: ProtectionId;
    }
  /** An endpoint was ejected: it gets no calls for `forMs` milliseconds, or until too few other endpoints are usable. */
  | {
      readonly type: 'endpoint';
      readonly change: 'ejected';
      readonly address: string;
      readonly evidence: EjectionEvidence;
      readonly forMs: number;
      /**
       * Multiplier of the ejection's duration: the number of ejections including this one, reduced by one for each minute (with
       * outlier detection: each `interval`) without an ejection.
       */
      readonly ejections: number;
    }
  /** An ejected endpoint gets calls again. 'panic': too few other endpoints were usable. */
  | {
      readonly type: 'endpoint';
      readonly change: 'returned';
      readonly address: string;
      readonly reason: 'expired' | 'panic';
      readonly ejectedMs: number;
    }
  /** An endpoint met an ejection rule, but a limit prevented the ejection. */
  | {
      readonly type: 'endpoint';
      readonly change: 'spared';
      readonly address: string;
      readonly evidence: EjectionEvidence;
      readonly limit: 'panic-threshold' | 'max-ejection-percent' | 'enforcement';
    }
  /** The reported health of an endpoint changed (`healthCheckConfig`). */
  | {
      readonly type: 'endpoint';
      readonly change: 'health';
      readonly address: string;
      readonly from: NonNullable<EndpointSnapshot['health']>;
      readonly to: NonNullable<EndpointSnapshot['health']>;
    }
  /**
   * Attempts to connect to an endpoint have failed for a minute, although the channel is READY. Not emitted in the minute after an outage.
   */
  | {
      readonly type: 'reachability';
      readonly change: 'lost';
      readonly address: string;
      readonly cause: string;
      readonly remedy: string;
      readonly failedMs: number;
    }
  /** An endpoint is connected again after `change: 'lost'` was emitted for it. */
  | {
      readonly type: 'reachability';
      readonly change: 'restored';
      readonly address: string;
      /** Time since the first failed attempt to connect, in milliseconds. */
      readonly failedMs: number;
    }
  | { readonly type: 'call-start'; readonly path: string }
  | { readonly type: 'call-end'; readonly path: string; readonly end: CallEnd }
  | {
      readonly type: 'attempt-end';
      readonly path: string;
      readonly attempt: AttemptRecord;
      readonly reachedServer: 'no' | 'maybe' | 'yes';
      /** Next step after the attempt. 'resume': another call continues the stream. */
      readonly next: 'none' | 'retry' | 'resume';
      readonly reason: AttemptEndReason;
    }
  /** Calls or `waitForReady()` have waited 1.5 s for a connection, but no attempt to connect has failed, so there is no outage. */
  | {
      readonly type: 'slow-connect';
      readonly cause: string;
      readonly waiting: number;
      /** Timeout of an attempt to connect. An outage begins when it expires. */
      readonly connectTimeoutMs: number;
      /** Maximum time that calls wait from the start of an outage. */
      readonly graceMs: number;
    }
  /**
   * Calls are waiting because all streams of all connections are in use (SETTINGS_MAX_CONCURRENT_STREAMS). Emitted when the first call
   * begins to wait, or, if another connection is being opened, when calls have waited for 1 s.
   */
  | {
      readonly type: 'stream-limit';
      readonly phase: 'begin';
      readonly waiting: number;
      readonly connections: number;
      /** Sum of the servers' limits for these connections. */
      readonly limit: number;
      readonly maxConnectionsPerSubchannel: number;
      readonly opensConnection: boolean;
    }
  /** No call is waiting for a free stream any longer. */
  | { readonly type: 'stream-limit'; readonly phase: 'end'; readonly durationMs: number }
  /**
   * An outage began. Calls wait for at most `graceMs`. `flapping` is true if this is at least the third outage within a minute; these
   * outages share one grace period.
   */
  | { readonly type: 'outage-start'; readonly cause: string; readonly graceMs: number; readonly flapping: boolean }
  /** A call is about to fail, because the grace period of the outage is over. Emitted at most once per outage. */
  | { readonly type: 'outage-grace-over'; readonly durationMs: number }
  | {
      readonly type: 'outage-end';
      readonly durationMs: number;
      readonly connectAttempts: number;
      /** Calls that waited during the outage. */
      readonly waitedCalls: number;
      /** Calls that were cancelled, or reached their deadlines, while they waited. */
      readonly abandonedCalls: number;
      /** Calls that were refused, immediately or after a wait. */
      readonly failedCalls: number;
    }
  | ({ readonly type: 'circuit'; readonly path: string } & CircuitTransition)
  /**
   * An adaptive concurrency limit has changed by at least a factor of 2 since it was last reported. Without `path`, the limit is the
   * client's. Latencies are means.
   */
  | ({ readonly type: 'concurrency-limit'; readonly path: string | undefined } & LimitChange)
  | {
      readonly type: 'stream-resumed';
      readonly path: string;
      /** Number of resumes, including this one. */
      readonly resumes: number;
      /** Time in milliseconds from the end of the interrupted call to the first attempt of the call that resumes the stream. */
      readonly gapMs: number;
      /** True if messages were delivered since the previous resume or, at the first resume, since the start of the stream. */
      readonly progress: boolean;
    }
  /**
   * A call was awaited, but not subscribed to within 1 s, so it was not made. Emitted at most once per call site, and only in development
   * (`NODE_ENV` is not 'production').
   */
  | { readonly type: 'awaited-call'; readonly path: string; readonly awaitedAt?: string }
  /**
   * A value of a request is not sent, or is replaced by another. Emitted at most once per method and field, and only in development
   * (`NODE_ENV` is not 'production').
   */
  | ({ readonly type: 'unsent-field' } & UnsentField)
  /** The servers of a method with `once` are without the feature, so that its calls are sent without keys. Emitted at most once a minute. */
  | { readonly type: 'once-unsupported'; readonly path: string }
  /**
   * Unary calls without a deadline have been waiting for a response for at least 20 s, and their connection has received nothing for
   * 20 s. The event describes all such calls to `address`. Emitted only if at least one of them has not been part of an earlier event.
   */
  | {
      readonly type: 'unanswered-calls';
      readonly address: string;
      readonly paths: Readonly<Record<string, number>>;
      /** Age of the oldest of these calls in milliseconds. */
      readonly oldestMs: number;
      /** Observation about the connection, with a remedy. */
      readonly remedy: string;
    }
  /** A stream that is read on demand is unread: no message has been requested for about a minute. */
  | {
      readonly type: 'unread-stream';
      readonly path: string;
      readonly openMs: number;
      readonly unreadMs: number;
      /** 'file:line' of the code that opened the stream; absent in production for streams that were opened before the first such event. */
      readonly openedAt?: string;
    }
  /**
   * An Observable emitted many request messages in one turn of the event loop: more than 16,384, which is 16 MiB at an assumed
   * 1 KiB per message. The messages are buffered in memory until they can be sent.
   */
  | { readonly type: 'requests-burst'; readonly path: string; readonly messages: number }
  /** The server rejected keepalive pings (too_many_pings). `keepaliveTimeMs` is the new, longer interval. */
  | { readonly type: 'keepalive-throttled'; readonly keepaliveTimeMs: number }
  /** The installed grpc-js is untested, or grpc-js or Node lacks private names that the library uses. */
  | ({ readonly type: 'untested-version' } & UntestedVersion)
  | { readonly type: 'addresses-limited'; readonly reported: number; readonly used: number }
  /** The addresses of the target's name changed. New calls use the new addresses. Running calls on removed addresses finish. */
  | {
      readonly type: 'addresses-changed';
      readonly added: readonly string[];
      readonly removed: readonly string[];
      readonly total: number;
    }
  /**
   * The name of the target could not be resolved. Earlier addresses stay in use; `addresses` is their number. Emitted again only after a
   * lookup has succeeded. If there are no earlier addresses, a failed attempt to connect is reported instead.
   */
  | { readonly type: 'lookup-failed'; readonly addresses: number }
  /**
   * Requests for the endpoints of the target fail (`kubernetes:`). Emitted again only after a request has succeeded or the channel has
   * been idle. Earlier addresses stay in use.
   */
  | {
      readonly type: 'endpoint-watch';
      readonly change: 'failed';
      readonly cause: string;
      /** Remedy for a missing permission, with a command; absent for other errors. */
      readonly remedy?: string;
      readonly addresses: number;
    }
  | { readonly type: 'endpoint-watch'; readonly change: 'restored'; readonly failedMs: number }
  /**
   * A connection is dead although TCP reports no error: no byte arrived, and a probe got no response. New calls stay on it until another
   * connection is READY; then, 'connection-replaced' follows.
   */
  | { readonly type: 'dead-connection'; readonly address: string; readonly silentMs: number; readonly timeouts: number }
  /** New calls use a new channel, because of new credentials, the age of the connections, or a changed service config. */
  | { readonly type: 'connection-replaced'; readonly reason: 'credentials' | 'age' | 'load-balancing' | 'health-check' }
  | {
      readonly type: 'connection-replaced';
      /** The connection had failed without an error from TCP: no byte arrived, and a probe got no response. */
      readonly reason: 'suspicion';
      readonly address: string;
      /** Time in milliseconds since the first call timeout after the last received byte. */
      readonly silentMs: number;
      /** Number of calls that have timed out on the connection since its last received byte. */
      readonly timeouts: number;
      /** Replacement for new calls: a new channel, or existing connections to other addresses that still receive data. */
      readonly by: 'new-channel' | 'other-connections';
    }
  /**
   * A drain began or ended. `running` is the number of open calls. The fields of `DrainReport` are 0 or empty at the
   * start.
   */
  | ({ readonly type: 'drain'; readonly phase: 'begin' | 'end'; readonly running: number } & DrainReport)
);
