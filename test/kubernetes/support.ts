import type { ResilientGrpcClient } from 'nestjs-resilient-grpc';
import { registerKubernetesResolver } from 'nestjs-resilient-grpc/kubernetes';
import { captureLeaks, ScriptedGrpcServer } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { onTestFinished } from 'vitest';
import { ECHOES, startClient, type ClientSettings, type EchoService, type EchoStub } from '../calls/support.js';
import { ECHO_PROTO } from '../testing/echo-client.js';
import { ApiServerStub } from './api-server-stub.js';

export const TARGET = 'kubernetes:///orders:grpc';

/** A running pod, with a server whose unary calls return the name of the pod. */
export interface RunningPod {
  readonly name: string;
  readonly server: ScriptedGrpcServer;
}

/** Starts an API server and registers the resolver for it. Closes the server after the test, and fails the test if resources leak. */
export async function startApiServer(): Promise<ApiServerStub> {
  const leaks = captureLeaks();
  onTestFinished(() => leaks.settled());
  const api = await ApiServerStub.start();
  onTestFinished(() => api.close());
  registerKubernetesResolver({ kubeconfig: api.kubeconfig });
  return api;
}

/** Starts the server of a pod that is not in the API server yet. */
export async function startPod(name: string): Promise<RunningPod> {
  const scripts = { ...ECHOES, Unary: { message: { text: name } } };
  const server = await ScriptedGrpcServer.start({ protoPath: ECHO_PROTO, scripts });
  onTestFinished(() => server.close());
  return { name, server };
}

/** Starts pods, and adds them to the API server as ready. */
export async function startPods(api: ApiServerStub, ...names: readonly string[]): Promise<readonly RunningPod[]> {
  const pods = await Promise.all(names.map(startPod));
  for (const { name, server } of pods) api.set({ name, port: server.port });
  return pods;
}

/** A client of the pods. `call` makes a call and returns the name of the pod that served the call. */
export interface PodClient {
  readonly client: ResilientGrpcClient;
  readonly echo: EchoStub;
  call(): Promise<string>;
}

export async function startPodClient(settings: ClientSettings = {}): Promise<PodClient> {
  const client = await startClient({ url: TARGET, ...settings });
  const echo = client.getService<EchoService>('Echo');
  const call = async () => (await firstValueFrom(echo.unary({}, { timeoutMs: 20_000 }))).text ?? '';
  return { client, echo, call };
}

/** Makes calls until `isExpected` is true for the names of the pods that served ten consecutive calls. Rejects if a call fails. */
export async function callUntil(
  { call }: Pick<PodClient, 'call'>,
  isExpected: (names: readonly string[]) => boolean,
): Promise<readonly string[]> {
  for (;;) {
    const names: string[] = [];
    while (names.length < 10) names.push(await call());
    const distinct = [...new Set(names)].sort();
    if (isExpected(distinct)) return distinct;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

export const namesEqual =
  (...expected: readonly string[]) =>
  (names: readonly string[]): boolean =>
    names.join() === expected.join();
