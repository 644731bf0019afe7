import { createRequire } from 'node:module';
import { answerOf, startTextServer, textClient } from './support/text-service.mjs';
import { reproduce } from './support/reproduce.mjs';

const CALLS = 5;

// grpc-js loads this package lazily, so it uses the `loadSync` that is set here.
const loader = createRequire(createRequire(import.meta.url).resolve('@grpc/grpc-js'))('@grpc/proto-loader');
const { loadSync } = loader;
let loads = 0;
loader.loadSync = (...args) => {
  loads += 1;
  return loadSync(...args);
};

await reproduce('@grpc/grpc-js', async () => {
  const unary = (call, done) => {
    call.getMetricsRecorder().recordApplicationUtilizationMetric(0.5);
    done(null, 'answer');
  };
  const { target } = await startTextServer({ unary }, { 'grpc.server_call_metric_recording': 1 });
  const client = textClient(target);
  for (let call = 0; call < CALLS; call++) await answerOf(client);
  return loads >= CALLS;
});
