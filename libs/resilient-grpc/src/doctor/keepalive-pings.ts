/** Servers forgive the first ping behind data and, by default, two more (gRFC A8, A9): the fourth tells, and one is to spare. */
export const KEEPALIVE_PINGS = 5;
