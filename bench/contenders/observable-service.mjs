import { from } from 'rxjs';

/** @typedef {import('../contract.mjs').Chunk} Chunk */

/**
 * A service of Nest's client or this library, with methods that return Observables.
 *
 * @typedef {object} BenchService
 * @property {(request: { id: string }, metadata?: any, options?: any) => import('rxjs').Observable<{ id: string }>} get
 * @property {(request: { count: number, size: number }) => import('rxjs').Observable<Chunk>} watch
 * @property {(chunks: any) => import('rxjs').Observable<{ count: number }>} upload
 * @property {(chunks: any) => import('rxjs').Observable<Chunk>} echo
 */

/**
 * Wraps a service of Nest's client or this library. Nest's client requires `pushed`. For this library, a drop-in replacement, `pushed` is
 * optional.
 *
 * @param {BenchService} service
 * @param {() => unknown} close
 * @param {boolean} [pushed] True if requests and responses can only be Observables.
 * @returns {import('../contenders.mjs').Contender}
 */
export function overService(service, close, pushed = false) {
  return {
    get(id, done) {
      takeOne(service.get({ id }), done);
    },
    watch(request, onMessage, done) {
      takeAll(service.watch(request), onMessage, done);
    },
    upload(chunks, done) {
      takeOne(service.upload(pushed ? from(chunks) : chunks), done);
    },
    echo(chunks, onMessage, done) {
      takeAll(service.echo(pushed ? from(chunks) : chunks), onMessage, done);
    },
    close,
  };
}

/**
 * @template T
 * @param {import('rxjs').Observable<T>} call
 * @param {(error: unknown, answer?: T) => void} done
 */
export function takeOne(call, done) {
  /** @type {T | undefined} */
  let answer;
  const next = (value) => (answer = value);
  takeAll(call, next, (error) => done(error, answer));
}

/**
 * @template T
 * @param {import('rxjs').Observable<T>} call
 * @param {(message: T) => void} onMessage
 * @param {(error: unknown) => void} done
 */
function takeAll(call, onMessage, done) {
  call.subscribe({ next: onMessage, error: done, complete: () => done(null) });
}
