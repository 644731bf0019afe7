import type { ConnectivityState } from '../call/connectivity.js';

// In the order of grpc-js's numbers.
const NAMES: readonly ConnectivityState[] = ['IDLE', 'CONNECTING', 'READY', 'TRANSIENT_FAILURE', 'SHUTDOWN'];

/** gRPC's name for a connectivity state of grpc-js. */
export function stateName(state: number): ConnectivityState {
  return NAMES[state] ?? 'SHUTDOWN';
}
