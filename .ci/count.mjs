// node .ci/count.mjs RESULTS [FAILED_STEP...]: prints the failed steps and the failures in vitest's JSON, then `N passed, N failed`. Exits
// with 1 if anything failed.
import { existsSync, readFileSync } from 'node:fs';
import { relative } from 'node:path';

const [path, ...failures] = process.argv.slice(2);
const finished = existsSync(path);
const results = finished
  ? JSON.parse(readFileSync(path, 'utf8'))
  : { numPassedTests: 0, testResults: [], success: false };

/** Returns the first five lines of each message, because the output of the tests may be too long to keep. */
function startOf(messages) {
  return messages.flatMap((message) => ['', ...message.split('\n').slice(0, 5)]).join('\n  ');
}

for (const { name, status, assertionResults } of results.testResults) {
  const file = relative('.', name);
  const failed = assertionResults.filter((test) => test.status === 'failed');
  failures.push(...failed.map(({ fullName, failureMessages }) => `${file}: ${fullName}${startOf(failureMessages)}`));
  // A file that failed without a failed test did not load, or one of its hooks failed.
  if (failed.length === 0 && status === 'failed') failures.push(`${file}: did not load, or failed in a hook`);
}
if (failures.length === 0) {
  if (!finished) failures.push('npm test: ended without results');
  else if (!results.success) failures.push('npm test: an error outside of the tests');
  else if (results.numPassedTests === 0) failures.push('npm test: no test passed');
}

for (const failure of failures) console.log(`failed: ${failure}`);
console.log(`${results.numPassedTests} passed, ${failures.length} failed`);
process.exitCode = failures.length === 0 ? 0 : 1;
