import { Observable } from 'rxjs';

/** Wraps `call` and reports how late it ended, relative to a bare timer and the start of the call, which excludes process delays. */
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
