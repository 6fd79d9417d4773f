"""Local half of milepost.platform.files: renders templates and reads files here, then calls the module once."""

from __future__ import annotations

import base64

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import lookup_loader

SOURCES = ('content', 'template', 'src', 'link', 'directory', 'absent')


class ActionModule(ActionBase):
    """Every entry of `files` gets its bytes before it is sent; a server needs no Jinja."""

    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp=None, task_vars=None):
        super().run(tmp, task_vars)
        args = dict(self._task.args)
        args['files'] = [self._entry(entry, task_vars or {}) for entry in args.get('files') or []]
        result = self._execute_module(module_name='milepost.platform.files', module_args=args, task_vars=task_vars)
        # A run that was cut short may have written files whose handlers never ran: this one runs them.
        if (task_vars or {}).get('milepost_unfinished') and not self._task.check_mode and not result.get('failed'):
            result['changed'] = True
            result['changed_files'] = [entry['dest'] for entry in args['files'] if not entry.get('directory')]
        return result

    def _entry(self, entry, task_vars):
        given = [name for name in SOURCES if entry.get(name) not in (None, False)]
        if 'dest' not in entry or len(given) != 1:
            raise AnsibleActionFail(f"files: an entry needs dest and one of {', '.join(SOURCES)}: {entry.get('dest')}")
        sent = {name: value for name, value in entry.items() if name not in ('template', 'src', 'vars', 'content')}
        data = self._bytes(entry, task_vars)
        if data is not None:
            sent['data'] = base64.b64encode(data).decode()
        return sent

    def _bytes(self, entry, task_vars):
        if entry.get('content') is not None:
            return str(entry['content']).encode()
        if entry.get('template'):
            lookup = lookup_loader.get('ansible.builtin.template', loader=self._loader, templar=self._templar)
            text = lookup.run([entry['template']], variables=task_vars, template_vars=entry.get('vars') or {})[0]
            return str(text).encode()
        if entry.get('src'):
            with open(self._find_needle('files', entry['src']), 'rb') as file:
                return file.read()
        return None
