export type { DashboardServer, DashboardSnapshot } from './dashboard-feed.js';
export type { DashboardMountOptions, ResilientGrpcDashboardOptions } from './dashboard-options.js';
export { ResilientGrpcDashboardModule } from './resilient-grpc-dashboard.module.js';
