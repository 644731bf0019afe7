/**
 * Number of pings sent by the keepalive check. By default, servers tolerate the first ping after data and two more (gRFC A8, A9), so the
 * fourth ping reveals their limit. The fifth is a reserve.
 */
export const KEEPALIVE_PINGS = 5;
