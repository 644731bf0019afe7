// The clients of both processes, of the kind that the environment selects.
import { join } from 'node:path';
import { ClientsModule, Transport } from '@nestjs/microservices';

/** True if this process uses the library's part instead of Nest's. */
export const isResilient = (part: 'CLIENT' | 'SERVER') => process.env[part] === 'resilient';

export const CONTRACT = { package: 'agents.v1', protoPath: join(process.cwd(), 'situations.proto') };

const RETRIES = {
  methodConfig: [
    {
      name: [{ service: 'agents.v1.Situations', method: 'Retry' }],
      retryPolicy: {
        maxAttempts: 3,
        initialBackoff: '0.01s',
        maxBackoff: '0.01s',
        backoffMultiplier: 1,
        retryableStatusCodes: ['UNAVAILABLE'],
      },
    },
  ],
};
const GZIP = { 'grpc.default_compression_algorithm': 2 };

/** Returns the module of the clients `situations`, `compressed`, and `unreachable`. */
export async function clientsModule() {
  const url = `127.0.0.1:${process.env['GRPC_PORT']}`;
  const clients = [
    { name: 'situations', url, channelOptions: {} },
    { name: 'compressed', url, channelOptions: GZIP },
    { name: 'unreachable', url: '127.0.0.1:1', channelOptions: {} },
  ];
  if (!isResilient('CLIENT'))
    return ClientsModule.register(
      clients.map(({ name, channelOptions, ...options }) => ({
        name,
        transport: Transport.GRPC,
        options: {
          ...CONTRACT,
          ...options,
          channelOptions: { ...channelOptions, 'grpc.service_config': JSON.stringify(RETRIES) },
        },
      })),
    );
  const { ResilientGrpcModule } = await import('nestjs-resilient-grpc');
  return ResilientGrpcModule.forFeature(
    clients.map((client) => ({ ...CONTRACT, ...client, serviceConfig: RETRIES, outageGraceMs: 100 })),
  );
}

/** When the parent asks, closes the application and then flushes the agent, as `start.cjs` defines. */
export function endWith(close: () => Promise<void>): void {
  process.on('message', (message) => {
    if (message !== 'end') return;
    // The cast is safe because start.cjs sets it.
    const { flushAgent } = globalThis as unknown as { flushAgent: () => Promise<void> };
    void close()
      .then(flushAgent)
      .then(() => process.exit(0));
  });
}
