import 'reflect-metadata';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { NestFactory } from '@nestjs/core';
import { ClientsModule, Transport } from '@nestjs/microservices';
import { Module } from '@nestjs/common';
import { ResilientGrpcModule, getGrpcServiceToken } from 'nestjs-resilient-grpc';
import { firstValueFrom } from 'rxjs';
import { Server, ServerCredentials, loadPackageDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { fork } from 'node:child_process';
const protoPath = '/work/dev2/protos/orders.proto';
if (process.argv[2] === 'server') {
  const { Orders } = loadPackageDefinition(loadSync(protoPath)).orders.v1;
  const s = new Server(); s.addService(Orders.service, { get: (c, cb) => cb(null, { id: '1' }), create: (c, cb) => cb(null, {}) });
  s.bindAsync(`127.0.0.1:${process.argv[3]}`, ServerCredentials.createInsecure(), (e) => { if (e) { console.error(e); process.exit(1); } process.send('up'); });
} else {
  const l = net.createServer().listen(0); await new Promise((r) => l.once('listening', r)); const port = l.address().port; l.close();
  const url = `127.0.0.1:${port}`;
  const extra = JSON.parse(process.argv[3] ?? '{}');
  class C {} Module({ imports: [ResilientGrpcModule.forFeature([{ name: 'ours', package: 'orders.v1', protoPath, url, ...extra }]), ClientsModule.register([{ name: 'plain', transport: Transport.GRPC, options: { package: 'orders.v1', protoPath, url } }])] })(C);
  const app = await NestFactory.createApplicationContext(C, { logger: false });
  const clients = { ours: app.get(getGrpcServiceToken('ours', 'Orders'), { strict: false }), plain: app.get('plain').getService('Orders') };
  let epoch = -1; const N = Number(process.argv[2] ?? 8), DOWN = Number(process.argv[4] ?? 1500), UP = Number(process.argv[5] ?? 7000);
  const failed = { ours: Array(N).fill(0), plain: Array(N).fill(0) }; const first = { ours: Array(N), plain: Array(N) }; let listenAt = Array(N).fill(Infinity); const why = {};
  const start = async () => { const c = fork(process.argv[1], ['server', port], { execArgv: [] }); await new Promise((r) => c.once('message', r)); return c; };
  let server = await start();
  for (const name of ['ours', 'plain']) await firstValueFrom(clients[name].get({ id: '1' }));
  let n = 0; const t0 = performance.now();
  const timer = setInterval(() => { for (; n < (performance.now() - t0) / 20; n++) for (const name of ['ours', 'plain']) { const e = epoch, write = n % 2; firstValueFrom(clients[name][write ? 'create' : 'get']({ id: '1' })).then(() => { if (epoch >= 0 && performance.now() > listenAt[epoch] && first[name][epoch] === undefined) first[name][epoch] = Math.round(performance.now() - listenAt[epoch]); }, (err) => { if (e >= 0) failed[name][e]++; if (name === 'ours') { const k = String(err.details ?? err.message).slice(0, 60); why[k] = (why[k] ?? 0) + 1; } }); } }, 5);
  await sleep(2000);
  for (let i = 0; i < N; i++) { epoch = i; server.kill('SIGKILL'); await new Promise((r) => server.once('exit', r)); await sleep(DOWN); server = await start(); listenAt[i] = performance.now(); await sleep(UP); }
  clearInterval(timer); console.log('failed', failed); console.log('first', first); console.log(why); server.kill(); process.exit();
}
