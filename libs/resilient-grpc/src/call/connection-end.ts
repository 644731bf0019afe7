/** Why a connection ended that was there, in the words of gRFC A94 (`grpc.disconnect_error`). */
export type ConnectionEnd =
  | `GOAWAY ${string}`
  | 'subchannel shutdown'
  | 'connection reset'
  | 'connection timed out'
  | 'connection aborted'
  | 'socket error'
  | 'unknown';
