/** Connection whose loss failed an attempt: it was lost, or it was closing when the attempt received its response. */
export interface LostConnection {
  /** The same object for all attempts on one connection. */
  readonly connection: object;
  /** True if the connection takes no more streams: it closed, or the server sent GOAWAY. False if only the stream was reset. */
  readonly isOver: boolean;
}
