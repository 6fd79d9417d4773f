"""DuckDB and ClickHouse (chDB) as stores of messages, for `npm run bench -- mdb`: NAME FOLDER SCHEMA."""
import json
import os
import signal
import sys
import time


def folder_bytes(folder):
    return sum(os.stat(os.path.join(path, name)).st_blocks * 512 for path, _, names in os.walk(folder) for name in names)


def memory():
    with open('/proc/self/smaps_rollup') as file:
        return sum(int(line.split()[1]) * 1024 for line in file if line.startswith(('Pss_Anon:', 'Pss_Shmem:')))


def quoted(name):
    return '"' + name + '"'


class DuckDb:
    types = {'integer': 'BIGINT', 'number': 'DOUBLE', 'boolean': 'BOOLEAN', 'string': 'VARCHAR'}

    def __init__(self, folder, schema):
        import duckdb

        os.makedirs(folder, exist_ok=True)
        self.file = os.path.join(folder, 'messages.duckdb')
        self.db = duckdb.connect(self.file, config={'threads': 1, 'memory_limit': '4GB'})
        self.columns = [('device', 'INTEGER')] + [(name, self.types[kind]) for name, kind in schema]
        self.db.execute('create table if not exists messages (%s)' % ', '.join(f'{quoted(n)} {t}' for n, t in self.columns))

    def load(self, file):
        columns = '{%s}' % ', '.join(f"'{name}': '{kind}'" for name, kind in self.columns)
        self.db.execute(f"insert into messages select * from read_json('{file}', format='newline_delimited', columns={columns})")

    def settle(self):
        # As its users are told: sorted by the key, so that it is compressed and skipped well.
        self.db.execute('create table sorted as select * from messages order by device, timestamp')
        self.db.execute('drop table messages')
        self.db.execute('alter table sorted rename to messages')
        self.db.execute('checkpoint')
        # Space is not given back to the file: what is in use is what it needs.
        block, total, used = self.db.execute('select block_size, total_blocks, used_blocks from pragma_database_size()').fetchone()
        self.used = used * block

    def read(self, devices, fields):
        what = '*' if fields is None else ', '.join(quoted(name) for name in ['timestamp'] + fields)
        ids = ', '.join(map(str, devices))
        result = self.db.execute(f'select {what} from messages where device in ({ids}) order by device, timestamp').fetchnumpy()
        return len(next(iter(result.values())))

    def bytes(self):
        return self.db.execute('select block_size * used_blocks from pragma_database_size()').fetchone()[0]

    def close(self):
        self.db.close()


class ClickHouse:
    types = {'integer': 'Int64', 'number': 'Float64', 'boolean': 'Bool', 'string': 'String'}

    def __init__(self, folder, schema, codec=''):
        from chdb import session

        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        self.session = session.Session(folder)
        columns = ['`device` Int32' + codec]
        for name, kind in schema:
            columns.append(f'`{name}` ' + (f'{self.types[kind]}' if name == 'timestamp' else f'Nullable({self.types[kind]})') + codec)
        self.session.query('create database if not exists bench engine = Atomic')
        self.session.query('set max_threads = 1')
        self.session.query(
            f"create table if not exists bench.messages ({', '.join(columns)}) engine = MergeTree order by (device, timestamp) "
            'settings fsync_after_insert = 1, fsync_part_directory = 1'
        )

    def load(self, file):
        self.session.query(f"insert into bench.messages select * from file('{file}', JSONEachRow) settings max_threads = 1, max_insert_threads = 1")

    def settle(self):
        self.session.query('optimize table bench.messages final')

    def read(self, devices, fields):
        what = '*' if fields is None else ', '.join(f'`{name}`' for name in ['timestamp'] + fields)
        ids = ', '.join(map(str, devices))
        query = f'select {what} from bench.messages where device in ({ids}) order by device, timestamp'
        self.session.query(query + ' settings max_threads = 1, optimize_read_in_order = 1', 'Native').bytes()

    def count(self, devices):
        ids = ', '.join(map(str, devices))
        return int(self.session.query(f'select count() from bench.messages where device in ({ids})', 'CSV').bytes())

    def bytes(self):
        return int(self.session.query("select sum(bytes_on_disk) from system.parts where active and table = 'messages'", 'CSV').bytes())

    def close(self):
        self.session.close()


def main():
    name, folder, schema = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    if name == 'duckdb':
        store = DuckDb(folder, schema)
    else:
        store = ClickHouse(folder, schema, ' CODEC(ZSTD(3))' if name == 'chdb-zstd' else '')
    # The end of its input tells it to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What a store prints must not mix with answers.
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)
    for line in sys.stdin:
        order = json.loads(line)
        answer = {'seconds': 0, 'cpu': 0, 'messages': 0, 'bytes': 0, 'memory': 0}
        try:
            began, cpu = time.perf_counter(), time.process_time()
            if order['do'] == 'load':
                store.load(order['file'])
            elif order['do'] == 'settle':
                store.settle()
            elif order['do'] == 'read':
                answer['messages'] = store.read(order['devices'], order.get('fields'))
            else:
                answer['bytes'] = store.bytes()
                answer['memory'] = memory()
            answer['seconds'] = time.perf_counter() - began
            answer['cpu'] = time.process_time() - cpu
            if order['do'] == 'read' and isinstance(store, ClickHouse):
                answer['messages'] = store.count(order['devices'])
        except Exception as error:
            answer['error'] = f'{type(error).__name__}: {error}'
        answers.write(json.dumps(answer) + '\n')
        answers.flush()
    store.close()


main()
