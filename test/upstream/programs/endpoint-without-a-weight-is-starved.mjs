import { startTextServer, answerOf, textClient } from './support/text-service.mjs';
import { delay } from './support/waiting.mjs';
import { reproduce } from './support/reproduce.mjs';

const CALLS = 300;

await reproduce('@grpc/grpc-js', async () => {
  const calls = [0, 0, 0];
  let isReporting = false;
  const start = (index) =>
    startTextServer(
      {
        unary: (call, done) => {
          calls[index] += 1;
          // The last server is new and has not reported its load.
          if (isReporting && index < 2) {
            const load = call.getMetricsRecorder();
            load.recordQpsMetric(100);
            load.recordApplicationUtilizationMetric(0.5);
          }
          done(null, 'answer');
        },
      },
      { 'grpc.server_call_metric_recording': 1 },
    );
  const servers = await Promise.all([start(0), start(1), start(2)]);
  const weighted_round_robin = { blackout_period: '0s', weight_update_period: '0.1s' };
  const client = textClient(`ipv4:${servers.map(({ target }) => target).join(',')}`, {
    'grpc.service_config': JSON.stringify({ loadBalancingConfig: [{ weighted_round_robin }] }),
  });
  while (calls.includes(0)) await answerOf(client);
  isReporting = true;
  for (let call = 0; call < 6; call++) await answerOf(client);
  // Waits until the policy has read the weights, which it does once per period.
  await delay(300);
  calls.fill(0);
  for (let call = 0; call < CALLS; call++) await answerOf(client);
  // gRFC A58: an endpoint without a weight has the average weight of the others, so it should receive a third of the calls.
  return calls[2] < CALLS / 10;
});
