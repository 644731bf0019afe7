export type { DashboardSnapshot } from './dashboard-feed.js';
export { ResilientGrpcDashboardModule, type ResilientGrpcDashboardOptions } from './resilient-grpc-dashboard.module.js';
