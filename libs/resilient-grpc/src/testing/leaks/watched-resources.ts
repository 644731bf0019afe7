/** Display names of the resource types that `process.getActiveResourcesInfo()` returns. */
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

/** A type of resource that keeps a process alive. */
export type Resource = keyof typeof RESOURCE_NAMES;

// Safe cast: the object above has exactly these keys.
/** All watched resource types. */
export const RESOURCES = Object.keys(RESOURCE_NAMES) as readonly Resource[];
