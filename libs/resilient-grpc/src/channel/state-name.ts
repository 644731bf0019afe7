import type { ConnectivityState } from '../call/connectivity.js';

// In the order of grpc-js's enum values.
const NAMES: readonly ConnectivityState[] = ['IDLE', 'CONNECTING', 'READY', 'TRANSIENT_FAILURE', 'SHUTDOWN'];

/** Returns gRPC's name for a grpc-js connectivity state. */
export function stateName(state: number): ConnectivityState {
  return NAMES[state] ?? 'SHUTDOWN';
}
