/** The connection with which an attempt failed: it broke off, or it was ending when the attempt got its answer. */
export interface LostConnection {
  /** The same object for all attempts on one connection. */
  readonly connection: object;
  /** The connection takes no more streams: it closed, or the server sent GOAWAY. False if only the attempt's stream was reset. */
  readonly isOver: boolean;
}
