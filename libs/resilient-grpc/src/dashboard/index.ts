export type { DashboardSnapshot } from './dashboard-snapshot.js';
export type { ResilientGrpcDashboardOptions } from './dashboard-options.js';
export { ResilientGrpcDashboardModule } from './resilient-grpc-dashboard.module.js';
