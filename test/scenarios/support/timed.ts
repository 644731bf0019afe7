import { Observable } from 'rxjs';

/**
 * Wraps `call` and reports the time in milliseconds from its expected end, `timeoutMs` after its start, to its actual end. If a bare timer
 * of `timeoutMs` fires later than the expected end, the measurement starts when the timer fires, which excludes delays of the process.
 * Reports 0 if the call ends before the timer fires.
 */
export function timed<T>(call: Observable<T>, timeoutMs: number, report: (lateMs: number) => void): Observable<T> {
  return new Observable((subscriber) => {
    let dueAt = Infinity;
    let begunAt = Infinity;
    const timer = setTimeout(() => (dueAt = Math.max(performance.now(), begunAt + timeoutMs)), timeoutMs);
    subscriber.add(() => {
      clearTimeout(timer);
      report(Math.max(0, performance.now() - dueAt));
    });
    subscriber.add(call.subscribe(subscriber));
    begunAt = performance.now();
  });
}
