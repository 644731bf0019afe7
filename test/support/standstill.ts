const STEP_MS = 10;
/** What timers are late by on a machine that has time. */
const USUAL_MS = 20;

// Tests that turn the clock turn it for others.
const now = performance.now.bind(performance);
let lastAt = now();
let totalMs = 0;
const unseenMs = () => {
  const lateMs = now() - lastAt - STEP_MS;
  return lateMs > USUAL_MS ? lateMs : 0;
};
setInterval(() => {
  totalMs += unseenMs();
  lastAt = now();
}, STEP_MS).unref();

/** For how long this process has stood still since, all in all: what a busy machine adds to every time that is measured in it. */
export function timeStoodStill(): () => number {
  const beforeMs = totalMs + unseenMs();
  return () => totalMs + unseenMs() - beforeMs;
}
