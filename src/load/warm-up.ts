import { defaultIfEmpty, lastValueFrom } from 'rxjs';
import type { Contender } from '../contenders/contender.js';

const ROUNDS = 20;
const CONCURRENT_CALLS = 5;

/** Connects each contender and warms up its code, so that the first figures do not include a cold start. */
export async function warmUp(contenders: readonly Contender[]): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) {
    const calls = contenders.flatMap((contender) =>
      Array.from({ length: CONCURRENT_CALLS }, () =>
        lastValueFrom(contender.get('order-1').pipe(defaultIfEmpty(undefined))),
      ),
    );
    await Promise.all(calls);
  }
}
