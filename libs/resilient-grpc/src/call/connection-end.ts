/** Reason for the end of an established connection, as in gRFC A94 (`grpc.disconnect_error`). */
export type ConnectionEnd =
  | `GOAWAY ${string}`
  | 'subchannel shutdown'
  | 'connection reset'
  | 'connection timed out'
  | 'connection aborted'
  | 'socket error'
  | 'unknown';
