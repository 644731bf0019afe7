import { CONTENDER_NAMES } from '../contenders/contender.js';
import { overload, type OverloadResult } from '../load/overload-run.js';
import { OVERLOAD_FIGURES, overloadReport } from '../report/overload-figures.js';
import { outcomeOf, type Scenario } from './scenario.js';

/**
 * Three servers with the same handler, one after another, are offered three times what they can serve: Nest's own server, the same with a
 * timeout in an interceptor, and ours. The clients are plain clients of grpc-js.
 */
export const overloadServer: Scenario = {
  minSeconds: 2,
  defaultSeconds: 5,
  async play({ seconds, say }) {
    const results: OverloadResult[] = [];
    // One after another, because each needs a core.
    for (const name of CONTENDER_NAMES) results.push(await overload(name, { seconds, say }));
    return outcomeOf(results, {
      figures: OVERLOAD_FIGURES,
      plainTitle: "Nest's server",
      tunedTitle: '+ timeout interceptor',
      report: overloadReport,
    });
  },
};
