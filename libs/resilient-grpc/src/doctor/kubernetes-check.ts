import { targetUri } from '../channel/connection/address-key.js';
import { errorMessage } from '../errors/error-message.js';
import { selectEndpoints } from '../policy/kubernetes/select-endpoints.js';
import { counted, duration, oneLine } from '../telemetry/log/log-text.js';
import { resultsOf, type CheckResult } from './check-result.js';
import { within } from './time-limit.js';

const INSTALL =
  'install the client library in the application: npm i @kubernetes/client-node; before Node 22.19, npm i @kubernetes/client-node@1';

/**
 * Registers the resolver for `kubernetes:` targets, and reports the number of the service's pods by condition, or the problem that prevents
 * calls.
 */
export async function kubernetesCheck(target: string, timeoutMs: number): Promise<CheckResult> {
  let modules;
  try {
    // The resolver requires the optional client library.
    modules = {
      ...(await import('../kubernetes/register-kubernetes-resolver.js')),
      ...(await import('../kubernetes/kubernetes-target.js')),
      ...(await import('../kubernetes/api-server.js')),
    };
  } catch (error) {
    const message = `@kubernetes/client-node cannot be loaded: ${oneLine(errorMessage(error))}`;
    return resultsOf('kubernetes')('failed', message, INSTALL);
  }
  const { register, parseKubernetesTarget, inspectSlices, requestFailure, missingEndpoints } = modules;
  let server;
  let service;
  try {
    service = parseKubernetesTarget(targetUri(target));
    server = register({});
  } catch (error) {
    return resultsOf('kubernetes')(
      'failed',
      errorMessage(error),
      'correct the target, and run the doctor where the application runs',
    );
  }
  const { namespace = server.namespace } = service;
  const facts = { server: server.url, namespace, service: service.service };
  const timeout = new AbortController();
  const request = inspectSlices(server, { service: service.service, namespace }, timeout.signal);
  let slices;
  try {
    slices = await within(timeoutMs, request, undefined);
    if (slices === undefined) throw new Error(`no response within ${duration(timeoutMs)}`);
  } catch (error) {
    const remedy = `check the credentials, and that ${server.url} is reachable from here`;
    const found = requestFailure(error, server, namespace);
    return resultsOf('kubernetes', facts)('failed', found.message, found.remedy ?? remedy);
  } finally {
    // Ends the request after a timeout.
    request.catch(() => undefined);
    timeout.abort();
  }
  const selection = selectEndpoints(slices, service.port);
  const { counts } = selection;
  const result = resultsOf('kubernetes', { ...facts, ...counts, slices: slices.length });
  if (!selection.found) {
    const [message = '', remedy] = missingEndpoints(selection, service, namespace).split('; ');
    return result('failed', message, remedy);
  }
  const pods = `${String(counts.ready)} ready, ${String(counts.notReady)} not ready, ${String(counts.terminating)} terminating`;
  const message = `service ${service.service} in namespace ${namespace}: ${pods}; ${counted(slices.length, 'EndpointSlice')} at ${server.url}`;
  return selection.reason === 'terminating'
    ? result('warning', `${message}; only terminating pods receive calls`, 'check the readiness probes of the pods')
    : result('ok', message);
}
