// node .ci/count.mjs RESULTS STEPS_FAILED: prints `N passed, N failed` of vitest's JSON, and fails if anything did.
import { existsSync, readFileSync } from 'node:fs';

const [path, stepsFailed] = process.argv.slice(2);
const finished = existsSync(path);
const results = finished
  ? JSON.parse(readFileSync(path, 'utf8'))
  : { numPassedTests: 0, testResults: [], success: false };

const testsFailed = results.testResults.map(({ status, assertionResults }) => {
  const failed = assertionResults.filter((test) => test.status === 'failed').length;
  // A file that fails without a failed test did not load, or broke in a hook.
  return failed === 0 && status === 'failed' ? 1 : failed;
});
let failed = Number(stepsFailed) + testsFailed.reduce((sum, count) => sum + count, 0);
// No results, an error outside the tests, or none passed: nothing was shown.
if (failed === 0 && (!results.success || results.numPassedTests === 0)) failed = 1;

console.log(`${results.numPassedTests} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
