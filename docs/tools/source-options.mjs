import ts from 'typescript';
import { constant } from './source-constants.mjs';
import { sourceFile } from './source-file.mjs';

const CLIENT_OPTIONS = 'client/settings/client-options.ts';
const MODULE_OPTIONS = 'nest/module-options.ts';
const HEALTH = 'health/grpc-channel.health-indicator.ts';
const DASHBOARD_OPTIONS = 'dashboard/dashboard-options.ts';
const SERVER_OPTIONS = 'server/server-options.ts';

/** The source file of each group of options, and the constant that contains the defaults of the group. */
const GROUPS = {
  ResilientGrpcModuleOptions: { file: MODULE_OPTIONS },
  DrainOptions: { file: MODULE_OPTIONS, defaults: 'DEFAULT_DRAIN' },
  ForFeatureExtras: { file: MODULE_OPTIONS },
  GrpcContract: { file: 'client/settings/contract.ts' },
  GrpcClientSettings: { file: CLIENT_OPTIONS },
  GrpcClientDefaults: { file: CLIENT_OPTIONS, defaults: 'DEFAULT_CLIENT_SETTINGS' },
  KeepaliveOptions: { file: CLIENT_OPTIONS },
  TlsOptions: { file: 'channel/tls/tls-material.ts' },
  PropagationOptions: { file: CLIENT_OPTIONS },
  MethodOptions: { file: CLIENT_OPTIONS, defaults: 'DEFAULT_CLIENT_SETTINGS' },
  CircuitBreakerOptions: { file: 'policy/circuit-breaker/circuit-breaker-policy.ts' },
  DnsServiceConfigOptions: { file: 'channel/dns/dns-service-config.ts' },
  GrpcCallOptions: { file: 'client/resilient-types.ts' },
  ReadinessCheckOptions: { file: 'health/grpc-readiness.health-indicator.ts' },
  ChannelCheckOptions: { file: HEALTH },
  ChannelCheckAllOptions: { file: HEALTH },
  ServingCheckOptions: { file: 'health/grpc-serving.health-indicator.ts', defaults: 'DEFAULT_SERVING_CHECK' },
  ResilientGrpcServerOptions: { file: SERVER_OPTIONS, defaults: 'DEFAULT_SERVER_OPTIONS' },
  KubernetesResolverOptions: { file: 'kubernetes/kubernetes-options.ts' },
  ServerMethodOptions: { file: SERVER_OPTIONS, defaults: 'DEFAULT_SERVER_OPTIONS' },
  GrpcToRpcOptions: { file: 'nest/errors/grpc-to-rpc-exception.filter.ts' },
  DashboardMountOptions: { file: DASHBOARD_OPTIONS },
  ResilientGrpcDashboardOptions: { file: DASHBOARD_OPTIONS },
};

/** Groups of options that the docs must show. */
export const OPTION_GROUPS = Object.keys(GROUPS);

/**
 * Returns the options of a group in source order, each with its doc comment.
 *
 * @param {string} group name of the interface or type
 * @returns {{ name: string, type: string, meaning: string, defaultValue: string | undefined }[]}
 */
export function optionsOf(group) {
  const { file, defaults } = GROUPS[group] ?? {};
  if (file === undefined) throw new Error(`unknown group of options ${group}`);
  const declaration = sourceFile(file).statements.find(
    (statement) =>
      (ts.isInterfaceDeclaration(statement) || ts.isTypeAliasDeclaration(statement)) && statement.name.text === group,
  );
  if (declaration === undefined)
    throw new Error(
      `${file}: expected an interface or type ${group}, found none; correct the path or the name in docs/tools`,
    );
  const constants = defaults === undefined ? {} : constant(file, defaults);
  return propertiesOf(declaration).map((property) => optionOf(property, group, constants));
}

/**
 * Returns the properties that a type declares directly or in a member of a union or intersection, but not those of nested objects. Skips
 * keys that a member forbids (`undefined`).
 */
function propertiesOf(node) {
  const own = [];
  const visit = (child) => {
    if (!ts.isPropertySignature(child)) ts.forEachChild(child, visit);
    else if (child.type?.kind !== ts.SyntaxKind.UndefinedKeyword) own.push(child);
  };
  ts.forEachChild(node, visit);
  return own;
}

function optionOf(property, group, constants) {
  const name = property.name.getText();
  const docs = property.jsDoc?.at(-1);
  const meaning = flat(ts.getTextOfJSDocComment(docs?.comment) ?? '');
  if (meaning === '') throw new Error(`${group}.${name} has no doc comment`);
  const tag = docs.tags?.find(({ tagName }) => tagName.text === 'defaultValue');
  const documented = tag && flat(ts.getTextOfJSDocComment(tag.comment) ?? '');
  const value = constants[name];
  const literal = typeof value === 'string' ? `'${value}'` : value?.toString();
  // After a semicolon, the tag may state a different default for a special case.
  if (literal !== undefined && literal !== documented?.split(';')[0])
    throw new Error(`${group}.${name}: @defaultValue is ${documented}, but the constant is ${literal}`);
  return { name, type: typeText(property.type), meaning, defaultValue: documented };
}

function typeText(type) {
  const text = flat(type.getText()).replace(/ \| undefined$/, '');
  return text.replace(/^\(\((.*)\) => void\)$/, '($1) => void');
}

function flat(text) {
  return text.replace(/\s+/g, ' ').trim();
}
