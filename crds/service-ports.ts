// Ports of a Service, and where they are published.
import { z } from 'zod';
import { dnsLabel, list, port, withRules } from './fields.ts';

export const ServicePort = z.object({
  name: dnsLabel().max(15).optional().describe('Name of the port.'),
  port: port().describe("Port of the Service's virtual IP."),
  targetPort: port().optional().describe('Port of the containers; the same as port unless said.'),
  publishedPort: port().optional().describe('Port of the nodes that leads to it; absent = not published.'),
  protocol: z.enum(['TCP', 'UDP']).default('TCP').describe('Transport protocol.'),
  mode: z
    .enum(['Ingress', 'Host'])
    .default('Ingress')
    .describe(
      'Ingress = every node answers, for all containers of the Service; Host = only nodes that run some, for those.',
    ),
});
export type ServicePort = z.infer<typeof ServicePort>;

export const ServicePorts = withRules(
  list(ServicePort, 128),
  {
    rule: 'self.all(p, !has(p.publishedPort) || self.exists_one(q, has(q.publishedPort) && q.publishedPort == p.publishedPort && q.protocol == p.protocol))',
    message: 'a publishedPort is used twice for the same protocol',
    reason: 'FieldValueDuplicate',
  },
  {
    rule: 'self.all(p, has(p.publishedPort) || self.exists_one(q, !has(q.publishedPort) && q.port == p.port && q.protocol == p.protocol))',
    message: 'a port is listed twice for the same protocol',
    reason: 'FieldValueDuplicate',
  },
  {
    rule: 'self.all(p, !has(p.name) || self.exists_one(q, has(q.name) && q.name == p.name))',
    message: 'a port name is used twice',
    reason: 'FieldValueDuplicate',
  },
);
