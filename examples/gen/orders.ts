// In your project, ts-proto generates this file from orders.proto. Here, it passes on the types that the whole repository shares.
export type * from '../../src/gen/orders.pb.js';
