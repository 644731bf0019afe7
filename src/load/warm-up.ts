import { defaultIfEmpty, lastValueFrom } from 'rxjs';
import type { Contender } from '../contenders/contender.js';

const ROUNDS = 20;
const AT_ONCE = 5;

/** Connects each contender and warms up its code, so that the first figures do not include a cold start. */
export async function warmUp(contenders: readonly Contender[]): Promise<void> {
  for (let round = 0; round < ROUNDS; round++) {
    const calls = contenders.flatMap((contender) =>
      Array.from({ length: AT_ONCE }, () => lastValueFrom(contender.get('order-1').pipe(defaultIfEmpty(undefined)))),
    );
    await Promise.all(calls);
  }
}
