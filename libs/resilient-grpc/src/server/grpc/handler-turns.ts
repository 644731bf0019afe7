/**
 * Starts tasks one after the other, each when the microtasks of the one before have run. Nest's handlers run in microtasks, so the overload
 * gate could otherwise not see how long they take before it had started all requests of a read.
 */
export class HandlerTurns<Task> {
  private readonly waiting: (Task | undefined)[] = [];
  private at = 0;
  private isRunning = false;

  constructor(private readonly start: (task: Task) => void) {}

  add(task: Task): void {
    this.waiting.push(task);
    if (this.isRunning) return;
    this.isRunning = true;
    process.nextTick(this.step);
  }

  private readonly step = (): void => {
    const task = this.waiting[this.at];
    if (task === undefined) {
      this.waiting.length = 0;
      this.at = 0;
      this.isRunning = false;
      return;
    }
    this.waiting[this.at] = undefined;
    this.at += 1;
    // First, because the task may throw. A tick that a microtask schedules runs after all microtasks.
    queueMicrotask(this.stepLater);
    this.start(task);
  };

  private readonly stepLater = (): void => {
    process.nextTick(this.step);
  };
}
