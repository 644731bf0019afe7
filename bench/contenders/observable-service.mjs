/**
 * A service as Nest's clients and ours give it: methods that return Observables.
 *
 * @typedef {object} BenchService
 * @property {(request: { id: string }) => import('rxjs').Observable<{ id: string }>} get
 * @property {(request: { count: number, size: number }) => import('rxjs').Observable<{ data: Uint8Array }>} watch
 */

/**
 * Nest's client and ours are used by the same code: that is what replacing one with the other means.
 *
 * @param {BenchService} service
 * @param {() => unknown} close
 * @returns {import('../contenders.mjs').Contender}
 */
export function overService(service, close) {
  return {
    get(id, done) {
      /** @type {{ id: string } | undefined} */
      let answer;
      service.get({ id }).subscribe({
        next(order) {
          answer = order;
        },
        error: done,
        complete() {
          done(null, answer);
        },
      });
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
    close,
  };
}
