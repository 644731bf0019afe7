import { Observable } from 'rxjs';

/** `call`; tells how late it ended, not counting what held the whole process up: a bare timer beside it, and the begin itself. */
export function timed<T>(call: Observable<T>, timeoutMs: number, tell: (lateMs: number) => void): Observable<T> {
  return new Observable((subscriber) => {
    let dueAt = Infinity;
    let begunAt = Infinity;
    const timer = setTimeout(() => (dueAt = Math.max(performance.now(), begunAt + timeoutMs)), timeoutMs);
    subscriber.add(() => {
      clearTimeout(timer);
      tell(Math.max(0, performance.now() - dueAt));
    });
    subscriber.add(call.subscribe(subscriber));
    begunAt = performance.now();
  });
}
