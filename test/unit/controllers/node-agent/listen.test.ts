import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { test } from 'node:test';
import { AGENT_PORT, agentListen } from '../../../../controllers/node-agent/config.ts';
import { createAgentServer, type AgentServerOptions } from '../../../../controllers/node-agent/server/agent-server.ts';
import { createLogger } from '../../../../lib/log.ts';

test('agentListen() takes the port that firewalls know where others are to reach it', () => {
  assert.deepEqual(agentListen({}, ['10.0.0.5', 'fd00::5']), { host: '10.0.0.5', port: AGENT_PORT, orAnyPort: true });
  assert.deepEqual(agentListen({ agentPort: 9000 }, ['10.0.0.5']), { host: '10.0.0.5', port: 9000 });
  assert.deepEqual(agentListen({}, []), { host: '127.0.0.1', port: 0 });
  assert.deepEqual(agentListen({ listen: '[::1]:9000', agentPort: 1 }, ['10.0.0.5']), { host: '::1', port: 9000 });
});

test('createAgentServer() listens at another port only where that will do', async () => {
  const holder = createServer().listen(0, '127.0.0.1');
  await once(holder, 'listening');
  const { port } = holder.address() as AddressInfo;
  const options = { tls: {}, log: createLogger('test', 'fatal') } as unknown as AgentServerOptions;
  const server = createAgentServer(options);
  await assert.rejects(createAgentServer(options).listen({ host: '127.0.0.1', port }), /EADDRINUSE/);
  const taken = await server.listen({ host: '127.0.0.1', port, orAnyPort: true });
  assert.ok(taken > 0 && taken !== port);
  await server.run(AbortSignal.abort());
  holder.close();
});
