/** An error of the peer in a header block. The tables of both sides may differ from now on, so the connection must end. */
export class HpackError extends Error {}
