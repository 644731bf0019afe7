import grpc from '@grpc/grpc-js';
import { reproduce } from './support/reproduce.mjs';

await reproduce('@grpc/grpc-js', async () => {
  try {
    new grpc.Metadata().set('authorization', 'Bearer secret\n');
  } catch (error) {
    return error.message.includes('secret');
  }
  throw new Error('the value was accepted');
});
