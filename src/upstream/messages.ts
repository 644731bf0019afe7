/** What the gateway tells its upstream over the channel between parent and child. */
export type UpstreamCommand =
  | { readonly type: 'listen'; readonly port: number }
  /** Every request takes this many times as long; 1 is normal. */
  | { readonly type: 'slow'; readonly factor: number }
  /** Reset all connections, and go on listening. */
  | { readonly type: 'cut' };

/** What the upstream tells the gateway. */
export type UpstreamNotice =
  { readonly type: 'standby' } | { readonly type: 'listening'; readonly port: number; readonly atMs: number };
