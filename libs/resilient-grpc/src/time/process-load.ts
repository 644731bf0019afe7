import { availableParallelism } from 'node:os';
import { performance, type EventLoopUtilization } from 'node:perf_hooks';

/** Load of this process in one period. */
export interface ProcessLoad {
  /** Share of the period during which the event loop was busy, 0 to 1. */
  readonly eventLoopUtilization: number;
  /** CPU time of all threads as a share of the time of all available cores, 0 to 1. */
  readonly cpuUtilization: number;
  /** Resident memory as a share of the memory that the system or the process's cgroup grants, 0 to 1. */
  readonly memoryUtilization: number;
}

/** Measures the load of this process. Injected, so that tests can set the load. */
export interface ProcessLoadSource {
  /** Returns the load since the previous call, or since the source was created. */
  next(): ProcessLoad;
}

/** Creates a source that measures this process. */
export function measureProcess(): ProcessLoadSource {
  let loop: EventLoopUtilization = performance.eventLoopUtilization();
  let cpu = process.cpuUsage();
  let at = performance.now();
  return {
    next: () => {
      const now = performance.now();
      const currentLoop = performance.eventLoopUtilization();
      const { user, system } = process.cpuUsage(cpu);
      const load = {
        eventLoopUtilization: performance.eventLoopUtilization(currentLoop, loop).utilization,
        cpuUtilization: (user + system) / 1_000 / Math.max(now - at, 1) / availableParallelism(),
        memoryUtilization: process.memoryUsage.rss() / (process.availableMemory() + process.memoryUsage.rss()),
      };
      loop = currentLoop;
      cpu = process.cpuUsage();
      at = now;
      return load;
    },
  };
}

/** Returns the total time for which the event loop of this process or worker thread has waited for events, in milliseconds. */
export function eventLoopIdleMs(): number {
  return performance.nodeTiming.idleTime;
}
