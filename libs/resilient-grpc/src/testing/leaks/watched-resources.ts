/** What `process.getActiveResourcesInfo()` calls them, for people. */
export const RESOURCE_NAMES = {
  TCPSocketWrap: 'socket',
  TCPServerWrap: 'listening server',
  PipeWrap: 'pipe',
  UDPWrap: 'UDP socket',
  ProcessWrap: 'child process',
  FSEventWrap: 'watched file',
  StatWatcher: 'polled file',
  Timeout: 'timer',
} as const;

/** A kind of what keeps a process alive. */
export type Resource = keyof typeof RESOURCE_NAMES;

// True: the object above has exactly these keys.
/** All that are watched. */
export const RESOURCES = Object.keys(RESOURCE_NAMES) as readonly Resource[];
