# runbus: 'lr=0.1; rm -rf ~' of 20260101-000000-abcde, attempt 2
${rb_alone:+exec "$rb_alone" sh "$rb_request"}
export A='$(id)'
export FROM_IMAGE=1
export lower='a
b'
cd '/home/user/my project' || exit 126
{ module load cuda
} || exit
{ ulimit -c 0
} || exit
exec python train.py --lr=0.1 'it'"'"'s $HOME'
