/** gRPC's connectivity states (https://github.com/grpc/grpc/blob/master/doc/connectivity-semantics-and-api.md). */
export type ConnectivityState = 'IDLE' | 'CONNECTING' | 'READY' | 'TRANSIENT_FAILURE' | 'SHUTDOWN';

/** What is known of a channel at one moment. */
export interface Connectivity {
  readonly state: ConnectivityState;
  /** When this state began. */
  readonly since: Date;
  /** The last failure to connect, or why the last connection ended. */
  readonly lastError?: string;
  /** Present from the first failed attempt to connect until the server answered a call, or READY has lasted 1 s. */
  readonly outage?: {
    readonly since: Date;
    /** Until then calls wait; afterwards they fail at once. */
    readonly graceEndsAt: Date;
    /** Failed attempts to connect in this outage. */
    readonly attempts: number;
    readonly nextAttemptAt?: Date;
    /** Three outages in a minute: they share one grace. */
    readonly flapping: boolean;
  };
}

/** One change of state, with its cause. */
export interface ConnectivityTransition {
  readonly from: ConnectivityState;
  readonly to: ConnectivityState;
  readonly at: Date;
  readonly cause?: string;
}
