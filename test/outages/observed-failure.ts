import type { Connectivity, GrpcCallError, GrpcClientSettings } from 'nestjs-resilient-grpc';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { CONNECT_FAILURES } from '../../libs/resilient-grpc/dist/policy/connect-failure/connect-failures.js';
import { failureOf } from '../calls/support.js';
import { doctor } from '../doctor/support.js';
import { aboveDebug, startOrdersApp } from '../support/orders-app.js';

type ConnectFailureKind = NonNullable<Connectivity['lastFailure']>['kind'];

export interface FailingConnection {
  readonly kind: ConnectFailureKind;
  readonly settings: GrpcClientSettings & { readonly url: string };
  /** Doctor options for the same connection. */
  readonly options: readonly string[];
  /** The doctor check that explains the failure. */
  readonly check: string;
}

/** The explanations of a failed connection, as JSON values. */
export interface ObservedFailure {
  readonly error: Pick<GrpcCallError, 'code' | 'reason' | 'reachedServer' | 'details' | 'message'>;
  /** The log line. */
  readonly line: string;
  readonly health: unknown;
  readonly connectivity: { readonly lastError?: string | undefined; readonly lastFailure?: unknown };
  /** The message of the doctor check. */
  readonly doctor: string;
}

/** Makes a call over a connection that fails, and collects the explanations. */
export async function observeFailure({ kind, settings, options, check }: FailingConnection): Promise<ObservedFailure> {
  const app = await startOrdersApp({ ...settings, outageGraceMs: 1_000 });
  try {
    const { code, reason, reachedServer, details, message } = await failureOf(app.orders.get({ id: '7' }));
    const line = await waitFor(
      () => aboveDebug(app).find((one) => one.includes(`${CONNECT_FAILURES[kind].remedy}; `)),
      {
        timeoutMs: 20_000,
        describe: () => `the remedy of '${kind}' in the log, which has ${aboveDebug(app).join('\n')}`,
      },
    );
    const { [app.client.name]: health } = await app.health.checkAll();
    const { lastError, lastFailure } = app.client.snapshot().connectivity;
    const { of } = await doctor([settings.url, ...options, '--connect-timeout', '0.5s']);
    return {
      error: { code, reason, reachedServer, details, message },
      line,
      health,
      connectivity: { lastError, lastFailure },
      doctor: of(check).message,
    };
  } finally {
    await app.close();
  }
}
