"""Exports for a sales channel: images as its published rules want them, a validator, a feed file.

    preset (YAML: frame, rules with source and date, feed)
    manifest rows -> render -> measure -> check -> accepted: <target>/<name>, a line of the feed
                                             +---> refused:  a line of report.csv: rule, required, measured, by how much

preset.py            the data: what a channel wants, where it says so, when that was read
facts.py check.py    what a file is, and which rules it breaks
render.py marks.py   pixels in the channel's frame; XMP and C2PA carried into the new file
feed.py report.py    the channel's feed file; report.csv and report.json
export.py            all of it for one job
"""

from jobs.channels.export import export_channel
from jobs.channels.options import ChannelExport, ChannelOptions, segmenter
from jobs.channels.preset import PRESETS, load_preset

__all__ = ["PRESETS", "ChannelExport", "ChannelOptions", "export_channel", "load_preset", "segmenter"]
