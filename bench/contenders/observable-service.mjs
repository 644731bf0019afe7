import { from } from 'rxjs';

/**
 * A service as Nest's clients and ours give it: methods that return Observables.
 *
 * @typedef {object} BenchService
 * @property {(request: { id: string }) => import('rxjs').Observable<{ id: string }>} get
 * @property {(request: { count: number, size: number }) => import('rxjs').Observable<{ data: Uint8Array }>} watch
 * @property {(chunks: any) => import('rxjs').Observable<{ count: number }>} upload
 */

/**
 * Nest's client and ours are used by the same code: that is what replacing one with the other means.
 *
 * @param {BenchService} service
 * @param {() => unknown} close
 * @param {boolean} [pushed] It takes requests as an Observable only.
 * @returns {import('../contenders.mjs').Contender}
 */
export function overService(service, close, pushed = false) {
  return {
    get(id, done) {
      takeOne(service.get({ id }), done);
    },
    watch(request, onMessage, done) {
      service.watch(request).subscribe({
        next: onMessage,
        error: done,
        complete() {
          done(null);
        },
      });
    },
    upload(chunks, done) {
      takeOne(service.upload(pushed ? from(chunks) : chunks), done);
    },
    close,
  };
}

/**
 * @template T
 * @param {import('rxjs').Observable<T>} call
 * @param {(error: unknown, answer?: T) => void} done
 */
function takeOne(call, done) {
  /** @type {T | undefined} */
  let answer;
  call.subscribe({
    next(value) {
      answer = value;
    },
    error: done,
    complete() {
      done(null, answer);
    },
  });
}
