import { CONTENDER_NAMES } from '../contenders/contender.js';
import { overload as overloadOne, type OverloadResult } from '../load/overload-run.js';
import { OVERLOAD_FIGURES } from '../report/figures.js';
import { outcomeOf, type Scenario } from './scenario.js';

/**
 * A plain grpc-js client sends three times as many calls as a server can serve: first to Nest's server, then to Nest's server with a
 * timeout interceptor, and then to ours. All three have the same handler.
 */
export const overload: Scenario = {
  minSeconds: 2,
  defaultSeconds: 5,
  async run({ seconds, report }) {
    const results: OverloadResult[] = [];
    // The servers run one after another, because each needs a core.
    for (const name of CONTENDER_NAMES) results.push(await overloadOne(name, { seconds, report }));
    return outcomeOf(results, {
      figures: OVERLOAD_FIGURES,
      plainTitle: "Nest's server",
      tunedTitle: '+ timeout interceptor',
    });
  },
};
